"""Parts of the benchmark of AudioPreprocessor."""
