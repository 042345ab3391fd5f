"""The gateway's side of the codec and LM workers: who they are, which has room, one stream to each."""
