"""The `dsm-stt` command."""
