// Command franzmember is a member of a group on franz-go; its command line is that of package members.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"zurau.test/clients/members"
)

var assignors = map[string]kgo.GroupBalancer{
	"range":              kgo.RangeBalancer(),
	"roundrobin":         kgo.RoundRobinBalancer(),
	"cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

func run(ctx context.Context, a members.Arguments) error {
	tell := func(name string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, kafka *kgo.Client, partitions map[string][]int32) {
			_, generation := kafka.GroupMetadata()
			members.Partitions(name, a.Topic, partitions[a.Topic], generation)
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(a.Bootstrap...),
		kgo.ConsumerGroup(a.Group),
		kgo.ConsumeTopics(a.Topic),
		kgo.Balancers(assignors[a.Assignor]),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.RebalanceTimeout(20 * time.Second),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.DisableAutoCommit(),
		// A rebalance waits until what was polled is committed.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(tell("partitions_assigned")),
		kgo.OnPartitionsRevoked(tell("partitions_revoked")),
		kgo.OnPartitionsLost(tell("partitions_revoked")),
	}
	if a.Instance != "" {
		options = append(options, kgo.InstanceID(a.Instance))
	}
	kafka, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer kafka.CloseAllowingRebalance()
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := kafka.PollRecords(poll, 500)
		cancel()
		ranges := []members.Range{}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 {
				first, last := p.Records[0].Offset, p.Records[n-1].Offset
				ranges = append(ranges, members.Range{
					Topic: p.Topic, Partition: p.Partition, Count: int64(n), Min: first, Max: last,
				})
			}
		})
		if len(ranges) > 0 {
			members.Consumed(ranges)
			members.Committed(ranges, kafka.CommitRecords(context.Background(), fetches.Records()...))
		}
		kafka.AllowRebalance()
	}
	return nil
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, members.Read()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
