// Server-Sent Events out of a response. A browser's EventSource can neither POST nor send a key, and hears
// only of types that it was told of in advance; an agent's own events have any name.

/**
 * Yield the events of a response as the objects their data is. A frame that was cut off is no event.
 * Comments and `retry` are not told of.
 */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const data = frame
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(line[5] === " " ? 6 : 5));
        if (data.length) yield JSON.parse(data.join("\n"));
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // its connection may be gone already
  }
}
