// The peer Cap'n Web, on Node over the WebSockets of ws; rows and bytes are its streams, with its flow control.

import http from 'node:http'
import { newWebSocketRpcSession, RpcTarget } from 'capnweb'
import { WebSocket, WebSocketServer } from 'ws'
import { blocks, follow, isEcho, Queue, row, streamed, TEXT } from './workloads.mjs'

// It expects the WebSocket of a browser to exist, which Node has from version 22 on.
globalThis.WebSocket ??= WebSocket

class Api extends RpcTarget {
  echo(a, b) {
    return { a, b }
  }

  rows(count) {
    let number = 0
    return new ReadableStream({
      pull(controller) {
        if (number < count) controller.enqueue(row(number++))
        else controller.close()
      },
    })
  }

  download(count) {
    return streamed(blocks(count))
  }

  async upload(stream) {
    let taken = 0
    for await (const chunk of stream) taken = follow(taken, chunk)
    return taken
  }

  pipe(stream) {
    return streamed(stream[Symbol.asyncIterator]())
  }

  async callBack(callback, count) {
    let right = 0
    for (let number = 0; number < count; number++) right += isEcho(await callback(number, TEXT), number)
    return right
  }
}

export async function serve() {
  const server = http.createServer()
  new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 0 }).on('connection', (socket) =>
    newWebSocketRpcSession(socket, new Api()))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server.address().port
}

export async function connect(port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false, maxPayload: 0 })
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  const api = newWebSocketRpcSession(socket)
  return {
    echo: (number, text) => api.echo(number, text),
    async *rows(count) {
      yield* await api.rows(count)
    },
    async *download(count) {
      yield* await api.download(count)
    },
    upload: (chunks) => api.upload(streamed(chunks)),
    async pipe() {
      const outgoing = new Queue()
      const incoming = (await api.pipe(streamed({ next: async () => ({ value: await outgoing.get() }) }))).getReader()
      return {
        send: async (message) => outgoing.put(message),
        receive: async () => (await incoming.read()).value,
        close: () => incoming.cancel(),
      }
    },
    callBack: (callback, count) => api.callBack(callback, count),
    async close() {
      socket.close()
    },
  }
}
