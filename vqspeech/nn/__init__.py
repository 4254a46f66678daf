"""The parts networks are made of; they know no files, recipes or speakers' names."""
