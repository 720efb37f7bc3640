/* Scores of the search. Sphinx gives a page the same score for a word that it is about and for one that it mentions,
   and sorts equal ones by title. Here, a page that has the words more often than others comes first. */
var Scorer = (() => {
  const MENTIONED = /^(index$|changelog|contributing|benchmarks|rough-errors|protocols\/)/; // they mention everything
  const words = () => (new URLSearchParams(location.search).get("q") || "").toLowerCase().match(/[a-z0-9_.]{2,}/g) || [];
  return {
    score: ([page, , , , score]) => {
      const counts = window.wordCounts || {};
      let share = 0;
      for (const word of words()) share += (counts[word] || {})[page] || 0;
      return score + share - (MENTIONED.test(page) ? 4 : 0);
    },
    objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
    title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  };
})();
