"""What an evaluation or a policy looks like to a person: tables, figures, sentences, a page."""
