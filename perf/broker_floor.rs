//! What a plain lapin client does with the queues that edges and processors share: the floor of `perf/broker`.
//!
//! `broker_floor publish URI QUEUE MESSAGES BYTES WINDOW` publishes with confirms, `broker_floor consume URI QUEUE MESSAGES`
//! takes and acknowledges every 256; each prints messages per second. The queue must be there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement may panic")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Instant;

use futures_core::Stream as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words[at].parse::<usize>().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rate = runtime.block_on(async {
        let connection = Connection::connect(&words[1], ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let begun = Instant::now();
        match words[0].as_str() {
            "publish" => publish(&channel, &words[2], number(3), number(4), number(5)).await,
            "consume" => consume(&channel, &words[2], number(3)).await,
            other => panic!("publish or consume, not {other}"),
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = number(3) as f64 / begun.elapsed().as_secs_f64();
        connection.close(200, "done".into()).await.unwrap();
        rate
    });
    println!("{rate:.0}");
}

async fn publish(channel: &Channel, queue: &str, messages: usize, bytes: usize, window: usize) {
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let body = vec![b'x'; bytes];
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut under_way = VecDeque::new();
    for _ in 0..messages {
        if under_way.len() == window {
            let oldest: lapin::PublisherConfirm = under_way.pop_front().unwrap();
            assert!(oldest.await.unwrap().is_ack());
        }
        let properties = BasicProperties::default().with_delivery_mode(2);
        under_way.push_back(
            channel.basic_publish("".into(), queue.into(), options, &body, properties).await.unwrap(),
        );
    }
    for confirm in under_way {
        assert!(confirm.await.unwrap().is_ack());
    }
}

async fn consume(channel: &Channel, queue: &str, messages: usize) {
    channel.basic_qos(1000, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(queue.into(), "floor".into(), options, FieldTable::default()).await.unwrap();
    for taken in 1..=messages {
        let delivery = std::future::poll_fn(|context| Pin::new(&mut consumer).poll_next(context)).await;
        let delivery = delivery.unwrap().unwrap();
        if taken % 256 == 0 || taken == messages {
            let options = BasicAckOptions { multiple: true };
            channel.basic_ack(delivery.delivery_tag, options).await.unwrap();
        }
    }
}
