"""Pure formats of a message: `text` for consoles and e-mail, `slack_blocks` for Slack, `charts` for HTML. They draw, and decide nothing."""
