"""Results → digests and incidents → delivery. Start with `digests.py`; `delivery.py` is the outbox."""
