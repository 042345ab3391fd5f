"""The three services of dsm-stt and the command line that starts them."""
