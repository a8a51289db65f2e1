// What every peer on Node is asked to do: the workloads of workloads.py, with the same work and the same checks.

export const TEXT = 'hello'
export const IN_FLIGHT = 64
export const BLOCK = new Uint8Array(65536).map((_, place) => place & 255)

export class WrongValue extends Error {}

export const row = (number) => ({ id: number, name: 'abc', ok: true })

export async function* blocks(count) {
  for (let number = 0; number < count; number++) yield BLOCK
}

/** A stream of what an iterator gives; that of ReadableStream.from is of another make, which Cap'n Web refuses. */
export function streamed(iterator) {
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await iterator.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
  })
}

/** The number of bytes with this chunk, whose ends are compared. */
export function follow(taken, chunk) {
  const end = taken + chunk.length
  if (chunk[0] !== (taken & 255) || chunk[chunk.length - 1] !== ((end - 1) & 255)) {
    throw new WrongValue(`The ${chunk.length} bytes after ${taken} are not those that were sent.`)
  }
  return end
}

export const isEcho = (answer, number, text = TEXT) =>
  answer.a === number && answer.b === text && Object.keys(answer).length === 2

const isRow = (item, number) =>
  item.id === number && item.name === 'abc' && item.ok === true && Object.keys(item).length === 3

async function echoInTurn(session, first, count) {
  for (let number = first; number < first + count; number++) {
    const answer = await session.echo(number, TEXT)
    if (!isEcho(answer, number)) throw new WrongValue(`echo(${number}) returned ${JSON.stringify(answer)}.`)
  }
}

async function timed(work) {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

const oneInFlight = (session, count) => timed(() => echoInTurn(session, 0, count))

async function manyInFlight(session, count) {
  const shares = Array.from({ length: IN_FLIGHT }, (_, caller) =>
    Math.floor(count / IN_FLIGHT) + (caller < count % IN_FLIGHT ? 1 : 0))
  return timed(() => Promise.all(shares.map((share, caller) => echoInTurn(session, 1000 * caller, share))))
}

async function smallItems(session, count) {
  let seen = 0
  let item
  const seconds = await timed(async () => {
    for await (item of session.rows(count)) {
      if (item.id !== seen) throw new WrongValue(`Item ${seen} of ${count} arrived as ${JSON.stringify(item)}.`)
      seen += 1
    }
  })
  if (seen !== count || !isRow(item, count - 1)) throw new WrongValue(`${seen} of ${count} items arrived.`)
  return seconds
}

async function firstItem(session) {
  const began = performance.now()
  let seconds
  for await (const item of session.rows(1)) {
    if (seconds !== undefined || !isRow(item, 0)) throw new WrongValue(`The only item: ${JSON.stringify(item)}.`)
    seconds = (performance.now() - began) / 1000
  }
  if (seconds === undefined) throw new WrongValue('The only item did not arrive.')
  return seconds
}

async function firstItems(session, count) {
  for (let number = 0; number < 20; number++) await firstItem(session)
  const samples = []
  while (samples.length < count) samples.push(await firstItem(session))
  return { samples }
}

async function besideADownload(session, count) {
  await echoInTurn(session, 0, 20)
  let over = false
  const downloading = (async () => {
    try {
      return (count * BLOCK.length) / (await bytesDown(session, count))
    } finally {
      over = true
    }
  })()
  const samples = []
  while (!over) {
    const began = performance.now()
    const answer = await session.echo(samples.length, TEXT)
    if (!isEcho(answer, samples.length)) throw new WrongValue(`echo returned ${JSON.stringify(answer)}.`)
    samples.push((performance.now() - began) / 1000)
  }
  return { samples, bytes_a_second: await downloading }
}

async function bytesDown(session, count) {
  let taken = 0
  const seconds = await timed(async () => {
    for await (const chunk of session.download(count)) taken = follow(taken, chunk)
  })
  if (taken !== count * BLOCK.length) throw new WrongValue(`${taken} of ${count * BLOCK.length} bytes arrived.`)
  return seconds
}

async function bytesUp(session, count) {
  let taken
  const seconds = await timed(async () => {
    taken = await session.upload(blocks(count))
  })
  if (taken !== count * BLOCK.length) throw new WrongValue(`${taken} bytes arrived at the server.`)
  return seconds
}

async function sentBack(session, count) {
  const pipe = await session.pipe()
  let message
  const seconds = await timed(async () => {
    const sending = (async () => {
      for (let number = 0; number < count; number++) await pipe.send(row(number))
    })()
    for (let number = 0; number < count; number++) {
      message = await pipe.receive()
      if (message.id !== number) throw new WrongValue(`Message ${number} came back as ${JSON.stringify(message)}.`)
    }
    await sending
  })
  if (!isRow(message, count - 1)) throw new WrongValue(`The last message came back as ${JSON.stringify(message)}.`)
  await pipe.close()
  return seconds
}

async function calledBack(session, count) {
  let expected = 0
  let wrong = 0
  let right
  const seconds = await timed(async () => {
    right = await session.callBack((number, text) => {
      if (number !== expected || text !== TEXT) wrong += 1
      expected += 1
      return { a: number, b: text }
    }, count)
  })
  if (wrong || expected !== count || right !== count) {
    throw new WrongValue(`${expected} of ${count} calls came, ${right} answers were right, ${wrong} calls were wrong.`)
  }
  return seconds
}

export const WORKLOADS = {
  W1: oneInFlight,
  W1c: manyInFlight,
  W2: smallItems,
  W2x: smallItems,
  W2s: smallItems,
  W3d: bytesDown,
  W3u: bytesUp,
  W4: sentBack,
  W5: calledBack,
}

export const LATENCIES = { first: firstItems, beside: besideADownload }

/** Values handed from whoever has them to whoever waits for them, in order. */
export class Queue {
  #values = []
  #waiting = []

  put(value) {
    const first = this.#waiting.shift()
    if (first) first(value)
    else this.#values.push(value)
  }

  // An array that is taken from its front costs its length each time: it is turned over and taken from its end.
  #turned = []

  get() {
    if (!this.#turned.length && this.#values.length) {
      this.#turned = this.#values.reverse()
      this.#values = []
    }
    if (this.#turned.length) return this.#turned.pop()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}
