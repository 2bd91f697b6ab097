// Asks the server and reads its events: parts of the answer as they come, {text, reason}.

export async function* answer(model, messages, key, signal) {
  const headers = { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const body = JSON.stringify({ model, messages, stream: true });
  const response = await asked("/v1/chat/completions", { method: "POST", headers, body, signal });
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error?.message ?? `Error ${response.status}`);
  for await (const event of events(response.body)) {
    if (event.error) throw new Error(event.error.message);
    const choice = event.choices[0];
    if (choice) yield { text: choice.delta.content ?? "", reason: choice.finish_reason };
  }
}

async function asked(...request) {
  try {
    return await fetch(...request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer.");
  }
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (held + value).split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}
