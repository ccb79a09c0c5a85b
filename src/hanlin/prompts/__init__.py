"""How a conversation becomes text and token ids: the one home of that fact."""
