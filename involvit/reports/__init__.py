"""What all reports and cards are written with: numbers, blocks, figures and one writer."""
