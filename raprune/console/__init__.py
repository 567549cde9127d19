"""What a person sees on a terminal: progress while a study runs, tables before and after."""
