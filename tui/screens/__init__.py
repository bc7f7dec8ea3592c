"""What a person sees at once, one file each; imported when it is opened."""
