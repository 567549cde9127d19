"""Results on an object store: addresses, mirrors, what is sent in which order, claims; and a real S3 server."""
