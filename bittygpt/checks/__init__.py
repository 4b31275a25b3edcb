"""How would I know that it is right? Each check is a short function that measures one promise of the code."""
