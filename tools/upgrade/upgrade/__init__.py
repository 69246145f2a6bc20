"""A mesh of three real nodes that goes from one program to another and back, under traffic and with a rollout in progress."""
