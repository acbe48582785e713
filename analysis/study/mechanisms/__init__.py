"""Why synthetic pairs harm: costs of causes, of texture and of masks, from the records of arms, pools and networks."""
