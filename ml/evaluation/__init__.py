"""How good an encoder is, on photos with known labels and items, and how far to trust the figure.

retrieval                what each single query found, among unit vectors (numpy alone)
intervals, comparing     from queries to a figure with its interval, and to the difference of two encoders
questions, views         which photos of a manifest ask, which answer, and as what they are seen
figures, classifying     the figures of a metric encoder, and of a classifier
report, tables           all of it as one JSON object, and as text
"""
