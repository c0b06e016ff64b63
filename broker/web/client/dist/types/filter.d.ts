/** Whether a filter has wildcards. */
export declare const isWild: (filter: string) => boolean;
/** Whether `filter` matches `topic`. */
export declare function matches(filter: string, topic: string): boolean;
