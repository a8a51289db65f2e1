// One side of one peer on Node, as side.py is for Python: node side.mjs server|client PEER WAY [PORT].

import readline from 'node:readline'
import { LATENCIES, WORKLOADS } from './workloads.mjs'

const WARM_UP = 10
const GLIMPSE = 50
// As in use: Telefunc checks names and places at each call otherwise.
process.env.NODE_ENV = 'production'
const [role, name, way, port] = process.argv.slice(2)
const peer = await import(`./${name}.mjs`)

// One place warms up and measures, as in side.py: {"workload", "count", "seconds"} a line.
async function measure({ workload, count, seconds: budget }) {
  const session = await peer.connect(Number(port), way, workload)
  try {
    if (workload in LATENCIES) return await LATENCIES[workload](session, count)
    const run = WORKLOADS[workload]
    const few = Math.ceil(count / (budget ? GLIMPSE : WARM_UP))
    const glimpse = await run(session, few)
    let work = count
    if (budget) {
      work = Math.max(few, Math.min(count, Math.round((few / glimpse) * budget)))
      await run(session, Math.max(1, Math.min(Math.floor(work / WARM_UP), work - few)))
    }
    const before = process.cpuUsage()
    const seconds = await run(session, work)
    const { user, system } = process.cpuUsage(before)
    return { seconds, count: work, client_cpu_seconds: (user + system) / 1e6 }
  } finally {
    await session.close()
  }
}

if (role === 'server') {
  console.log(await peer.serve(way))
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
} else {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await measure(JSON.parse(line))))
  }
  process.exit(0)
}
