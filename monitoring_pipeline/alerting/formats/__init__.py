"""Pure formats of a message: `text` for consoles and e-mail, `slack_blocks` for Slack. They draw, and decide nothing."""
