// What sampling makes of the probabilities of the next token, as the server does it: the filters first, top-k then top-p,
// on the model's own probabilities; then the temperature on what is left.

/**
 * `next` is `{candidates, rest}` of the server, likeliest first. Gives `{rows, others}`: each row with `p`, what the model
 * says, and `q`, how often it would be drawn; `others` are those that have no name here.
 */
export function reshape({ candidates, rest }, { temperature, topK, topP }) {
  const left = topK > 0 ? Math.min(topK, candidates.length) : candidates.length;
  const all = candidates.map((one) => ({ ...one, p: Math.exp(one.logprob) }));
  const classes = topK > 0 ? [] : rest;
  let mass = all.slice(0, left).reduce((sum, { p }) => sum + p, 0) + classes.reduce((sum, [mean, count]) => sum + count * Math.exp(mean), 0);
  const wanted = topP < 1 ? topP * mass : Infinity;
  let [named, sum] = [0, 0];
  while (named < left && (named === 0 || sum < wanted)) {
    sum += all[named].p;
    named += 1;
  }
  let unnamed = 0;
  while (named === left && unnamed < classes.length && sum < wanted) {
    sum += classes[unnamed][1] * Math.exp(classes[unnamed][0]);
    unnamed += 1;
  }
  const top = all[0]?.logprob ?? 0;
  const weight = (logprob) => (temperature > 0 ? Math.exp((logprob - top) / temperature) : Number(logprob === top));
  const weights = all.map(({ logprob }, index) => (index < named ? weight(logprob) : 0));
  // At temperature 0 the first of several that are as likely is taken.
  if (temperature === 0) weights.fill(0, 1);
  const others = temperature > 0 ? classes.slice(0, unnamed).reduce((total, [mean, count]) => total + count * weight(mean), 0) : 0;
  mass = weights.reduce((total, one) => total + one, 0) + others;
  return {
    rows: all.map((one, index) => ({ ...one, q: weights[index] / mass, kept: index < named })),
    others: { count: rest.reduce((total, [, count]) => total + count, 0), p: rest.reduce((total, [mean, count]) => total + count * Math.exp(mean), 0), q: others / mass },
  };
}

/** One of the rows, as often as its `q` says; those without a name are drawn again. */
export function pick(rows, random = Math.random()) {
  const all = rows.reduce((sum, { q }) => sum + q, 0);
  let at = random * all;
  for (const row of rows) {
    at -= row.q;
    if (at < 0) return row;
  }
  return rows[0];
}
