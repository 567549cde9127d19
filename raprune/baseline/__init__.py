"""What every result is compared with: the trained, unpruned network and all it was built from."""
