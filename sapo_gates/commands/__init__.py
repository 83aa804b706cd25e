"""The commands of `sapo-gates`, a file for each subject: its options, what it runs, what it prints."""
