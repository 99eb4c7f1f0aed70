// Command saramamember is a member of a group on sarama; its command line is that of package members.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/IBM/sarama"

	"zurau.test/clients/members"
)

const (
	batch = 500
	pause = 50 * time.Millisecond
)

var assignors = map[string]sarama.BalanceStrategy{
	"range":      sarama.NewBalanceStrategyRange(),
	"roundrobin": sarama.NewBalanceStrategyRoundRobin(),
}

type handler struct{ topic string }

func (h handler) Setup(s sarama.ConsumerGroupSession) error {
	members.Partitions("partitions_assigned", h.topic, s.Claims()[h.topic], s.GenerationID())
	return nil
}

func (h handler) Cleanup(s sarama.ConsumerGroupSession) error {
	members.Partitions("partitions_revoked", h.topic, s.Claims()[h.topic], s.GenerationID())
	return nil
}

// ConsumeClaim prints runs of offsets and marks them: sarama commits in the background, and when the claim ends.
func (h handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	run := members.Range{Topic: claim.Topic(), Partition: claim.Partition()}
	tell := func() {
		if run.Count > 0 {
			members.Consumed([]members.Range{run})
			s.MarkOffset(run.Topic, run.Partition, run.Max+1, "")
			run.Count = 0
		}
	}
	defer tell()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case m, open := <-claim.Messages():
			if !open {
				return nil
			}
			if run.Count == 0 {
				run.Min = m.Offset
			}
			run.Max = m.Offset
			if run.Count++; run.Count == batch {
				tell()
			}
		case <-tick.C:
			tell()
		case <-s.Context().Done():
			return nil
		}
	}
}

func run(ctx context.Context, a members.Arguments) error {
	c := sarama.NewConfig()
	c.Version = sarama.V3_9_0_0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	c.Consumer.MaxWaitTime = 200 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.Group.Rebalance.Timeout = 20 * time.Second
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{assignors[a.Assignor]}
	c.Consumer.Group.InstanceId = a.Instance
	group, err := sarama.NewConsumerGroup(a.Bootstrap, a.Group, c)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{a.Topic}, handler{a.Topic}); err != nil {
			if errors.Is(err, sarama.ErrClosedConsumerGroup) {
				break
			}
			fmt.Fprintln(os.Stderr, err)
			time.Sleep(pause)
		}
	}
	return group.Close()
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, members.Read()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
