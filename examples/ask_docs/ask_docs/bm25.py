"""BM25 ranking over tokenised documents.

S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends
in Information Retrieval 3(4), 2009, section 3.4:

    score(q, d) = sum over the terms t of q:  idf(t) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * |d| / avg|d|))

with tf the occurrences of t in d. Their idf, log((N - n + 0.5) / (n + 0.5)) for a term in n of N documents,
turns negative for a term in more than half of them; as is usual, 1 is added inside the logarithm so that a
match never lowers a score. The constant factor (k1 + 1) is the usual one as well; it changes no order.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log


class BM25:
    """An index of ``documents``, each its terms; ``k1`` saturates repetition, ``b`` weighs length."""

    def __init__(self, documents: Iterable[Sequence[str]], *, k1: float = 1.2, b: float = 0.75) -> None:
        self._k1 = k1
        self._counts = [Counter(document) for document in documents]
        lengths = [count.total() for count in self._counts]
        average = sum(lengths) / len(lengths) if any(lengths) else 1.0
        self._length_norms = [k1 * (1 - b + b * length / average) for length in lengths]
        self._found_in = Counter(term for count in self._counts for term in count)

    def idf(self, term: str) -> float:
        """How telling a term is: near 0 where every document has it, largest where none has."""
        found_in = self._found_in[term]
        return log(1 + (len(self._counts) - found_in + 0.5) / (found_in + 0.5))

    def scores(self, query: Iterable[str]) -> list[float]:
        """One score per document, in the order given; 0.0 where no term of the query occurs."""
        weights = {term: self.idf(term) for term in query}
        return [
            sum(
                weight * count[term] * (self._k1 + 1) / (count[term] + norm)
                for term, weight in weights.items()
                if term in count
            )
            for count, norm in zip(self._counts, self._length_norms, strict=True)
        ]

    def top(self, query: Iterable[str], limit: int) -> list[tuple[int, float]]:
        """The best ``limit`` documents as (position, score), best first, earlier first among equals."""
        ranked = sorted(enumerate(self.scores(query)), key=lambda pair: (-pair[1], pair[0]))
        return [(position, score) for position, score in ranked[:limit] if score > 0]
