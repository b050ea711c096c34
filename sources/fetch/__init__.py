"""Download of archives: hosts and their APIs, resumable transfers, verification."""
