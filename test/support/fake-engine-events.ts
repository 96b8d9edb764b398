/** The events of the fake Docker Engine: those since its start, as dockerd remembers them, and those to come. */

import type { ServerResponse } from "node:http";

export class FakeEngineEvents {
  /** So many answers about past events are cut off. */
  cutAnswers = 0;
  readonly #listeners = new Set<ServerResponse>();
  #past: string[] = [];

  /** What a start of the engine forgets. */
  forget(): void {
    this.#past = [];
  }

  /** Answers `GET /events`. */
  tell(isPast: boolean, response: ServerResponse): void {
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (isPast && this.cutAnswers-- > 0) return void response.write("{", () => response.destroy());
    if (isPast) {
      response.end(this.#past.join(""));
      return;
    }
    this.#listeners.add(response);
    response.on("close", () => this.#listeners.delete(response));
  }

  emit(type: string, action: string, id: string, attributes: object): void {
    const event = { Type: type, Action: action, Actor: { ID: id, Attributes: attributes } };
    const line = `${JSON.stringify(event)}\n`;
    this.#past.push(line);
    for (const listener of this.#listeners) listener.write(line);
  }
}
