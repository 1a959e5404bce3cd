/** One request at a time: a newer one aborts the one before, and an answer that comes too late is ignored. */
export class Latest {
  #newest = null;

  /**
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} task
   * @returns {Promise<T|undefined>} What the task resolved to; undefined when a newer one took its place.
   */
  async of(task) {
    const mine = new AbortController();
    this.stop();
    this.#newest = mine;
    try {
      const value = await task(mine.signal);
      return this.#newest === mine ? value : undefined;
    } catch (error) {
      if (this.#newest === mine) throw error;
      return undefined;
    }
  }

  /** Aborts what is under way. */
  stop() {
    this.#newest?.abort();
    this.#newest = null;
  }
}
