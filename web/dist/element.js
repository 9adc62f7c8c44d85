/* kairanban, MIT OR Apache-2.0; made from web/client, do not edit */
