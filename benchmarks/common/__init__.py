"""What benchmarks of search methods on tables share: names on a command line, runs that are kept, tables of regret."""
