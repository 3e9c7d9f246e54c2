"""Writes golden.tfevents with TensorBoard's own classes."""
import sys
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

with open(sys.argv[1], "wb") as f:
    w = RecordWriter(f)
    w.write(event_pb2.Event(wall_time=1763999000.5, step=0, file_version="brain.Event:2").SerializeToString(deterministic=True))
    for step, values in [(1, {"loss": 5.25, "lr": 1e-4}), (300, {"eval_loss": float("nan"), "loss": -0.1}), (70000, {"größe/x": 3e38})]:
        s = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=k, simple_value=v) for k, v in sorted(values.items())])
        w.write(event_pb2.Event(wall_time=1763999000.5 + step, step=step, summary=s).SerializeToString(deterministic=True))
    w.flush()
