"""What comes with messages: named safely, and known by what is inside."""
