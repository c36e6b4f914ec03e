"""What is done with templates besides running them: checked, compared, drawn, and code made from them. Pure."""
