// Hooks for React: the newest message of a topic, or of every topic under a filter. What comes
// between two frames of the screen is drawn once.

import { useEffect, useRef, useState } from "react";
import type { Client } from "./client.ts";
import type { Message, SubscribeOptions } from "./protocol.ts";

const FRAME_MS = 16;

/** The newest message of a topic, undefined until there is one. */
export function useTopic<T = unknown>(
  client: Client,
  topic: string,
  options: SubscribeOptions = { last: true },
): Message<T> | undefined {
  const [newest] = useTopics<T>(client, topic, options).values();
  return newest;
}

/** The newest message of each topic that a filter matches. */
export function useTopics<T = unknown>(
  client: Client,
  filter: string,
  options: SubscribeOptions = { last: true },
): ReadonlyMap<string, Message<T>> {
  const [messages, show] = useState<ReadonlyMap<string, Message<T>>>(new Map());
  // Options are mostly written in place, so they are new objects each time: what they say counts.
  const spelling = JSON.stringify(options);
  const given = useRef(options);
  given.current = options;
  useEffect(() => {
    const newest = new Map<string, Message<T>>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const draw = (): void => {
      timer = undefined;
      show(new Map(newest));
    };
    draw();
    const subscription = client.subscribe<T>(filter, given.current, (message) => {
      newest.set(message.topic, message);
      timer ??= setTimeout(draw, FRAME_MS);
    });
    return () => {
      clearTimeout(timer);
      subscription.close();
    };
  }, [client, filter, spelling]);
  return messages;
}
