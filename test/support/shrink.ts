/**
 * Makes a failing history short: leaves out as much of it as it can while it still fails, first large
 * runs, then single steps.
 */

/**
 * A sub-sequence of `history` that still `fails`, which `history` does. With enough attempts nothing
 * can be left out of it. `fails` runs at most `attemptsMax` times.
 */
export function shrink<T>(
  history: readonly T[],
  fails: (candidate: readonly T[]) => boolean,
  attemptsMax: number,
): readonly T[] {
  let shortest = history
  let attempts = 0
  let run = Math.ceil(history.length / 2)
  while (run > 0) {
    let shorter = false
    // From the end: what comes last depends on what comes first.
    for (let end = shortest.length; end > 0; end -= run) {
      if (attempts++ >= attemptsMax) return shortest
      const candidate = [...shortest.slice(0, Math.max(0, end - run)), ...shortest.slice(end)]
      if (!fails(candidate)) continue
      shortest = candidate
      shorter = true
    }
    if (run === 1 && !shorter) break
    run = run === 1 ? 1 : Math.ceil(run / 2)
  }
  return shortest
}
