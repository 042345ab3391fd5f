#!/usr/bin/env python
"""Transcribe recordings: WAV, FLAC, MP3 or Ogg, of at most 64 MiB each.

python transcribe_file.py speech.wav --server 127.0.0.1:50051 --words
"""

from __future__ import annotations

import argparse
import os
import sys

from dsm_stt_client import Client, SpeechError, Tls


def main() -> int:
    """Print the text of every file; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--server", default="127.0.0.1:50051", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--model", default="", help="default: the service's own")
    parser.add_argument("--tls", action="store_true", help="speak TLS, trusting the system's CAs")
    parser.add_argument("--ca-file", help="speak TLS, trusting the CAs in this PEM file")
    parser.add_argument("--words", action="store_true", help="print a line a word, with its start and end")
    options = parser.parse_args()

    tls = Tls(ca_file=options.ca_file) if options.ca_file else options.tls
    try:
        with Client(options.server, tls=tls, api_key=os.environ.get("DSM_API_KEY")) as client:
            for path in options.files:
                transcript = client.transcribe(path, model=options.model)
                if options.words:
                    for word in transcript.words:
                        print(f"{word.start_s:7.2f} {word.end_s:7.2f}  {word.text}")
                else:
                    print(transcript.text)
    except (SpeechError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
