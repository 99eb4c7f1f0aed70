// A member of a group on kafkajs, which prints what happens as Kafka's VerifiableConsumer does.
//
//   member.js BOOTSTRAP GROUP TOPIC
'use strict'
const { Kafka, logLevel } = require('kafkajs')

function event(name, fields) {
  console.log(JSON.stringify({ timestamp: Date.now(), name, ...fields }))
}

async function main() {
  const [bootstrap, groupId, topic] = process.argv.slice(2)
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 50 } })
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000 })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const partitions = (payload.memberAssignment[topic] || []).map(partition => ({ topic, partition }))
    event('partitions_assigned', { partitions })
  })
  consumer.on(consumer.events.REBALANCING, () => event('partitions_revoked', { partitions: [] }))
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat, isRunning, isStale }) => {
      if (!isRunning() || isStale() || batch.messages.length === 0) return
      const { partition } = batch
      const minOffset = Number(batch.firstOffset())
      const maxOffset = Number(batch.lastOffset())
      const count = batch.messages.length
      event('records_consumed', { count, partitions: [{ topic, partition, count, minOffset, maxOffset }] })
      const offsets = [{ topic, partition, offset: maxOffset + 1 }]
      try {
        await consumer.commitOffsets([{ topic, partition, offset: String(maxOffset + 1) }])
        event('offsets_committed', { offsets, success: true })
      } catch (e) {
        event('offsets_committed', { offsets, success: false, error: String(e) })
        throw e
      }
      await heartbeat()
    },
  })
  process.on('SIGTERM', async () => {
    await consumer.disconnect()
    process.exit(0)
  })
}

main().catch(e => {
  console.error(e)
  process.exit(1)
})
