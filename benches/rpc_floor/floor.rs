//! The floor: one thread that receives a datagram, sends one of the wanted size, and does no more.

use std::io::Write as _;
use std::net::UdpSocket;

/// Prints its address, then answers for ever: header of a response, the request's id, padding.
pub(crate) fn serve(reply_bytes: usize) -> ! {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    println!("{}", socket.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let mut request = vec![0; 65_536];
    let mut reply = vec![0; reply_bytes];
    loop {
        let Ok((_, from)) = socket.recv_from(&mut request) else {
            continue;
        };
        reply[0] = 1;
        reply[1..21].copy_from_slice(&request[1..21]);
        // A client that has left is no concern of the next.
        let _ = socket.send_to(&reply, from);
    }
}
