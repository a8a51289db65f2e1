// What the peer Telefunc serves: the functions of workloads.mjs, each with the shield that checks its arguments.

import { Channel, shield } from 'telefunc'
import { blocks, follow, isEcho, row, streamed, TEXT } from './workloads.mjs'

const t = shield.type

export const onEcho = shield(async (a, b) => ({ a, b }), [t.number, t.string])

export const onRows = shield(
  async function* (count) {
    for (let number = 0; number < count; number++) yield row(number)
  },
  [t.number],
)

export const onDownload = shield(async (count) => streamed(blocks(count)), [t.number])

export const onUpload = shield(
  async (stream) => {
    let taken = 0
    for await (const chunk of stream) taken = follow(taken, chunk)
    return taken
  },
  [t.any],
)

export async function onEchoes() {
  const channel = new Channel({ ack: true })
  channel.listen(([a, b]) => ({ a, b }))
  return channel.client
}

export async function onPipe() {
  const channel = new Channel()
  channel.listen((message) => channel.send(message))
  return channel.client
}

export const onCallBack = shield(
  async (callback, count) => {
    let right = 0
    for (let number = 0; number < count; number++) right += isEcho(await callback(number, TEXT), number)
    return right
  },
  [t.any, t.number],
)
