type Listener<V> = (value: V) => void;
/** Something that tells of events. `E` names each event and what it carries. */
export declare class Emitter<E> {
    #private;
    /** Calls `listener` at each event of this name, until the function it returns is called. */
    on<N extends keyof E>(name: N, listener: Listener<E[N]>): () => void;
    /** @internal A listener that throws does not keep the others, or the connection, from working. */
    emit<N extends keyof E>(name: N, value: E[N]): void;
}
export {};
