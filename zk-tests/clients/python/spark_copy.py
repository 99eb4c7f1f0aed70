"""Copies a topic to another in upper case with Spark Structured Streaming in this process, from checkpoint to checkpoint.

    spark_copy.py JARS BOOTSTRAP INPUT OUTPUT CHECKPOINTS

JARS is a directory. Runs until it is killed.
"""

import pathlib
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import upper

jars, bootstrap, source, sink, checkpoints = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .appName("copy")
    .config("spark.jars", ",".join(str(jar) for jar in pathlib.Path(jars).glob("*.jar")))
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
lines = (
    spark.readStream.format("kafka")
    .option("kafka.bootstrap.servers", bootstrap)
    .option("subscribe", source)
    .option("startingOffsets", "earliest")
    .option("maxOffsetsPerTrigger", 500)
    .load()
)
copy = lines.select(upper(lines.value.cast("string")).alias("value"))
query = (
    copy.writeStream.format("kafka")
    .option("kafka.bootstrap.servers", bootstrap)
    .option("topic", sink)
    .option("checkpointLocation", checkpoints)
    .start()
)
query.awaitTermination()
