"""Archives from the network: hosts, resumable downloads, verification."""
