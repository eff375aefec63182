// Server-Sent Events out of a response. A browser's EventSource can neither POST nor send a key, and hears
// only of types that it was told of in advance; an agent's own events have any name.

/** Return the values of the lines of a frame that begin with a field's name. */
function values(frame, field) {
  return frame
    .split("\n")
    .filter((line) => line.startsWith(`${field}:`))
    .map((line) => line.slice(field.length + 1).replace(/^ /, ""));
}

/**
 * Yield the events of a response as the objects their data is, each with the `id` of its frame, or null. A
 * frame that was cut off is no event. Comments and `retry` are not told of.
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
        const data = values(frame, "data");
        if (data.length) yield { event: JSON.parse(data.join("\n")), id: values(frame, "id").at(-1) ?? null };
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // its connection may be gone already
  }
}
