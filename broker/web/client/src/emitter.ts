// Events with types: who listens, and what they are told.

type Listener<V> = (value: V) => void;

/** Something that tells of events. `E` names each event and what it carries. */
export class Emitter<E> {
  #listeners = new Map<keyof E, Set<Listener<never>>>();

  /** Calls `listener` at each event of this name, until the function it returns is called. */
  on<N extends keyof E>(name: N, listener: Listener<E[N]>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener as Listener<never>);
    return () => void listeners.delete(listener as Listener<never>);
  }

  /** @internal A listener that throws does not keep the others, or the connection, from working. */
  emit<N extends keyof E>(name: N, value: E[N]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as Listener<E[N]>)(value);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
