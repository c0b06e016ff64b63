// Which topics a filter matches, as the broker sees it: `+` is one level, `#` the parent and all
// below, and neither at the beginning matches a topic of the broker's own.

/** Whether a filter has wildcards. */
export const isWild = (filter: string): boolean =>
  filter.split("/").some((level) => level === "+" || level === "#");

/** Whether `filter` matches `topic`. */
export function matches(filter: string, topic: string): boolean {
  if (filter === topic) return true;
  if (topic[0] === "$" && /^[+#]/.test(filter)) return false;
  const levels = filter.split("/");
  const names = topic.split("/");
  for (const [at, level] of levels.entries()) {
    if (level === "#") return true;
    if (at >= names.length || (level !== "+" && level !== names[at])) return false;
  }
  return levels.length === names.length;
}
