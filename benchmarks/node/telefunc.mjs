// The peer Telefunc, on Node: telefunctions over HTTP, and its channels over WebSocket.
//
// Two ways: "http" calls telefunctions, whose results stream in the response; "channel" sends
// acknowledged messages on one channel, as one would for many small calls, and streams over it.
// Its build tool would write the calls below; they are written by hand so that none is needed.

import http from 'node:http'
import { Queue, streamed } from './workloads.mjs'

const FILE = '/functions.telefunc.mjs'

// --- server ---------------------------------------------------------------------------------------

export async function serve() {
  const { config } = await import('telefunc')
  const { Telefunc } = await import('telefunc/node')
  // Named, or each call would search the disk for what a build would have made.
  config.root = import.meta.dirname
  config.telefuncFiles = [import.meta.dirname + FILE]
  const telefunc = new Telefunc()
  const server = http.createServer((req, res) => telefunc.serve({ req, res }))
  telefunc.installWebSocket(server)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server.address().port
}

// --- client ---------------------------------------------------------------------------------------

/** A channel's incoming messages, to be taken one by one. */
async function open(channel) {
  const incoming = new Queue()
  channel.listen((message) => incoming.put(message))
  return incoming
}

export async function connect(port, way, workload) {
  // It calls from browsers only, and knows them by this.
  const location = new URL(`http://127.0.0.1:${port}/`)
  globalThis.window ??= { scrollY: 0, location, addEventListener() {}, removeEventListener() {} }
  // By its file: what ws offers to browsers, whose conditions hold here, is none.
  globalThis.WebSocket ??= (await import(new URL('node_modules/ws/wrapper.mjs', import.meta.url))).WebSocket
  const { config, close, __remoteTelefunctionCall } = await import('telefunc/client')
  config.telefuncUrl = `http://127.0.0.1:${port}/_telefunc`
  config.fetch = fetch
  config.channel.transports = ['ws']
  config.stream.transport = { http: 'binary-inline', sse: 'sse-inline', channel: 'channel' }[way]
  const call = (name, ...args) => __remoteTelefunctionCall(FILE, name, args)
  const messaged = way === 'channel' && workload.startsWith('W1')
  const echoes = messaged ? await call('onEchoes') : undefined
  return {
    echo: echoes ? (number, text) => echoes.send([number, text]) : (number, text) => call('onEcho', number, text),
    async *rows(count) {
      yield* await call('onRows', count)
    },
    async *download(count) {
      yield* await call('onDownload', count)
    },
    upload: (chunks) => call('onUpload', streamed(chunks)),
    callBack: (callback, count) => call('onCallBack', async (...args) => callback(...args), count),
    async pipe() {
      const channel = await call('onPipe')
      const incoming = await open(channel)
      return {
        send: (message) => channel.send(message),
        receive: () => incoming.get(),
        close: () => channel.close(),
      }
    },
    async close() {
      if (echoes) await close(echoes)
    },
  }
}
