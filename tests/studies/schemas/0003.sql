BEGIN TRANSACTION;
CREATE TABLE rdsweep_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT rdsweep_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "rdsweep_alembic_version" VALUES('0003');
CREATE TABLE rdsweep_artifacts (
	trial_id INTEGER NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	media_type VARCHAR(255) NOT NULL, 
	content BLOB, 
	path TEXT, 
	sha256 VARCHAR(64) NOT NULL, 
	size BIGINT NOT NULL, 
	created_at DOUBLE NOT NULL, 
	CONSTRAINT pk_rdsweep_artifacts PRIMARY KEY (trial_id, kind), 
	CONSTRAINT fk_rdsweep_artifacts_trial_id FOREIGN KEY(trial_id) REFERENCES rdsweep_trials (id) ON DELETE CASCADE
);
INSERT INTO "rdsweep_artifacts" VALUES(1,'reconstructions','application/x-npy',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F',NULL,'fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108',64,1.7952042765460028648e+09);
INSERT INTO "rdsweep_artifacts" VALUES(2,'reconstructions','application/x-npy',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F',NULL,'fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108',64,1.7952042765550150871e+09);
CREATE TABLE rdsweep_attempts (
	trial_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	worker VARCHAR(255) NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	seconds DOUBLE NOT NULL, 
	outcome VARCHAR(16), 
	reason TEXT, 
	CONSTRAINT pk_rdsweep_attempts PRIMARY KEY (trial_id, attempt), 
	CONSTRAINT fk_rdsweep_attempts_trial_id FOREIGN KEY(trial_id) REFERENCES rdsweep_trials (id) ON DELETE CASCADE
);
INSERT INTO "rdsweep_attempts" VALUES(1,1,'anna',1.79520427653799653049e+09,1.79520427654201984411e+09,2.0,'complete',NULL);
INSERT INTO "rdsweep_attempts" VALUES(2,1,'anna',1.79520427654801464079e+09,1.7952042765519976616e+09,0.0,'complete','equivalent to trial 0');
INSERT INTO "rdsweep_attempts" VALUES(3,1,'anna',1.7952042765579924584e+09,1.79520427655899810796e+09,2.0,'diverged','the loss is not finite in epoch 2, step 15');
INSERT INTO "rdsweep_attempts" VALUES(4,1,'anna',1795204276.56101,1.79520427656201577186e+09,2.0,'failed','Traceback (most recent call last)');
INSERT INTO "rdsweep_attempts" VALUES(5,1,'anna',1.79520427656298136708e+09,NULL,2.0,NULL,NULL);
CREATE TABLE rdsweep_epochs (
	trial_id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	step BIGINT NOT NULL, 
	rate_nats DOUBLE NOT NULL, 
	distortion_se DOUBLE NOT NULL, 
	distortion_nll_nats DOUBLE NOT NULL, 
	objective DOUBLE NOT NULL, 
	annealing_weight DOUBLE NOT NULL, 
	nll_weight DOUBLE NOT NULL, 
	rate_weight DOUBLE NOT NULL, 
	learning_rate DOUBLE, 
	seconds DOUBLE NOT NULL, active_units INTEGER, 
	CONSTRAINT pk_rdsweep_epochs PRIMARY KEY (trial_id, epoch), 
	CONSTRAINT fk_rdsweep_epochs_trial_id FOREIGN KEY(trial_id) REFERENCES rdsweep_trials (id) ON DELETE CASCADE
);
INSERT INTO "rdsweep_epochs" VALUES(1,1,1,11,1.0,20.0,100.0,25.125,0.5,0.25,0.125,0.001,2.0,3);
INSERT INTO "rdsweep_epochs" VALUES(3,1,1,11,1.0,20.0,100.0,25.125,0.5,0.25,0.125,0.001,2.0,3);
INSERT INTO "rdsweep_epochs" VALUES(4,1,1,11,1.0,20.0,100.0,25.125,0.5,0.25,0.125,0.001,2.0,3);
INSERT INTO "rdsweep_epochs" VALUES(5,1,1,11,1.0,20.0,100.0,25.125,0.5,0.25,0.125,0.001,2.0,3);
CREATE TABLE rdsweep_latents (
	trial_id INTEGER NOT NULL, 
	latent INTEGER NOT NULL, 
	kl_nats DOUBLE NOT NULL, 
	mean_variance DOUBLE NOT NULL, 
	active BOOLEAN NOT NULL, kl_std_nats DOUBLE, kl_q10_nats DOUBLE, kl_q90_nats DOUBLE, last_active_epoch INTEGER, 
	CONSTRAINT pk_rdsweep_latents PRIMARY KEY (trial_id, latent), 
	CONSTRAINT fk_rdsweep_latents_trial_id FOREIGN KEY(trial_id) REFERENCES rdsweep_trials (id) ON DELETE CASCADE
);
INSERT INTO "rdsweep_latents" VALUES(1,0,0.0,0.0,0,0.0,0.0,0.0,0);
INSERT INTO "rdsweep_latents" VALUES(1,1,1.5,0.3,1,0.25,1.25,2.0,20);
INSERT INTO "rdsweep_latents" VALUES(1,2,3.0,0.6,1,0.5,2.5,4.0,20);
INSERT INTO "rdsweep_latents" VALUES(1,3,4.5,8.99999999999999911182e-01,1,0.75,3.75,6.0,20);
INSERT INTO "rdsweep_latents" VALUES(2,0,0.0,0.0,0,0.0,0.0,0.0,0);
INSERT INTO "rdsweep_latents" VALUES(2,1,1.5,0.3,1,0.25,1.25,2.0,20);
INSERT INTO "rdsweep_latents" VALUES(2,2,3.0,0.6,1,0.5,2.5,4.0,20);
INSERT INTO "rdsweep_latents" VALUES(2,3,4.5,8.99999999999999911182e-01,1,0.75,3.75,6.0,20);
CREATE TABLE rdsweep_launchers (
	id VARCHAR(64) NOT NULL, 
	study_id INTEGER NOT NULL, 
	kind VARCHAR(255) NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	pid INTEGER NOT NULL, 
	process_started_at DOUBLE NOT NULL, 
	workers_wanted INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	CONSTRAINT pk_rdsweep_launchers PRIMARY KEY (id), 
	CONSTRAINT fk_rdsweep_launchers_study_id FOREIGN KEY(study_id) REFERENCES rdsweep_studies (id) ON DELETE CASCADE
);
INSERT INTO "rdsweep_launchers" VALUES('launcher-1',1,'local','box',4711,1700000000.0,2,1700000000.0,1700000000.0,NULL);
CREATE TABLE rdsweep_studies (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(255) NOT NULL, 
	spec JSON NOT NULL, 
	spec_hash VARCHAR(255) NOT NULL, 
	distortion VARCHAR(255) NOT NULL, 
	trials_wanted INTEGER NOT NULL, 
	sampler VARCHAR(255) NOT NULL, 
	data JSON NOT NULL, 
	spectrum JSON NOT NULL, 
	rate_reference_nats DOUBLE NOT NULL, 
	distortion_reference DOUBLE NOT NULL, 
	artifacts_url TEXT NOT NULL, 
	code_version VARCHAR(255) NOT NULL, 
	packages JSON NOT NULL, 
	sampler_worker VARCHAR(255), 
	sampler_until DOUBLE, 
	created_at DOUBLE NOT NULL, stop VARCHAR(16), exhausted BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT ck_rdsweep_studies_distortion CHECK (distortion in ('se', 'nll')), 
	CONSTRAINT uq_rdsweep_studies_name UNIQUE (name)
);
INSERT INTO "rdsweep_studies" VALUES(1,'digits-beta','{"study":{"name":"digits-beta"},"space":{"beta":{"low":0.01,"high":100.0}}}','c0ffee','se',8,'random','{"name":"digits","checksum":"abc","train_size":1498,"image_shape":[1,8,8]}','[5.0,3.2,0.1]',50.0,20.0,'artifacts','0.1.0','{"torch":"2.11.0"}',NULL,NULL,1.7952042765000164509e+09,NULL,0);
CREATE TABLE "rdsweep_trials" (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	study_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	parameters JSON NOT NULL, 
	config JSON NOT NULL, 
	beta DOUBLE, 
	raw_weight DOUBLE, 
	beta_norm DOUBLE, 
	level DOUBLE, 
	latent_dim INTEGER NOT NULL, 
	reduction VARCHAR(255) NOT NULL, 
	annealing VARCHAR(255) NOT NULL, 
	likelihood VARCHAR(255) NOT NULL, 
	family VARCHAR(255) NOT NULL, 
	sigma2 DOUBLE, 
	learning_rate DOUBLE NOT NULL, 
	batch_size INTEGER NOT NULL, 
	epochs INTEGER NOT NULL, 
	seed BIGINT NOT NULL, 
	rate_nats DOUBLE, 
	rate_stderr_nats DOUBLE, 
	distortion_se DOUBLE, 
	distortion_se_stderr DOUBLE, 
	distortion_nll_nats DOUBLE, 
	distortion_nll_stderr_nats DOUBLE, 
	elbo_nats DOUBLE, 
	mse DOUBLE, 
	psnr_db DOUBLE, 
	bits_per_dim DOUBLE, 
	active_units INTEGER, 
	active_threshold DOUBLE, 
	collapsed BOOLEAN, 
	sigma2_learned DOUBLE, 
	seconds DOUBLE NOT NULL, 
	epoch INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	deaths INTEGER NOT NULL, 
	worker VARCHAR(255), 
	lease_until DOUBLE, 
	error TEXT, 
	told BOOLEAN NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, regulariser VARCHAR(255) DEFAULT 'kl' NOT NULL, prior VARCHAR(255) DEFAULT 'standard' NOT NULL, posterior VARCHAR(255) DEFAULT 'diagonal' NOT NULL, weights JSON, equivalence VARCHAR(64), reused_from INTEGER, mutual_information_nats DOUBLE, marginal_kl_nats DOUBLE, total_correlation_nats DOUBLE, dimension_kl_nats DOUBLE, diagnostic_examples INTEGER, iwae_nats DOUBLE, iwae_stderr_nats DOUBLE, iwae_samples INTEGER, exact_nll_nats DOUBLE, bce_floor_nats DOUBLE, collapse VARCHAR(16), collapse_epoch INTEGER, train_rate_nats DOUBLE, train_distortion_se DOUBLE, train_distortion_nll_nats DOUBLE, mig DOUBLE, dci_disentanglement DOUBLE, dci_completeness DOUBLE, dci_informativeness DOUBLE, factorvae_score DOUBLE, betavae_score DOUBLE, notes JSON, 
	CONSTRAINT ck_rdsweep_trials_state CHECK (state in ('queued', 'running', 'complete', 'diverged', 'failed')), 
	CONSTRAINT fk_rdsweep_trials_study_id FOREIGN KEY(study_id) REFERENCES rdsweep_studies (id) ON DELETE CASCADE, 
	CONSTRAINT uq_rdsweep_trials_study_id_number UNIQUE (study_id, number), 
	CONSTRAINT uq_rdsweep_trials_uuid UNIQUE (uuid)
);
INSERT INTO "rdsweep_trials" VALUES(1,1,0,'9d1a3aac-c03a-4b65-baa2-cf613eefdfc0','complete','{"beta":0.5,"latent_dim":4}','{"model":{"latent_dim":4},"objective":{"beta":0.5},"train":{"seed":7}}',0.5,0.5,0.03125,NULL,4,'sum','constant','bernoulli','mlp',NULL,0.001,128,20,7,10.5,0.1,3.25,0.05,60.0,0.5,-70.5,0.05,13.0,NULL,3,0.01,0,NULL,2.0,1,1,0,'anna',NULL,NULL,0,1.79520427653300762181e+09,1.79520427653799653049e+09,1.79520427654399132729e+09,'kl','standard','diagonal','{"sum":0.5,"latent_mean":2.0}','5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e',NULL,6.5,4.0,1.5,2.5,299,-68.25,0.5,64,NULL,11.0,'partial',NULL,10.75,3.0,57.5,NULL,NULL,NULL,NULL,NULL,NULL,'["I(x; z) is within 1 nat of ln 299, where its estimate saturates."]');
INSERT INTO "rdsweep_trials" VALUES(2,1,1,'29f10375-60b3-4b47-ae1b-bd2c5f61e178','complete','{"beta":1.5,"latent_dim":4}','{"model":{"latent_dim":4},"objective":{"beta":1.5},"train":{"seed":7}}',1.5,1.5,0.09375,NULL,4,'mean','constant','bernoulli','mlp',NULL,0.001,128,20,7,10.5,0.1,3.25,0.05,60.0,0.5,-70.5,0.05,13.0,NULL,3,0.01,0,NULL,0.0,0,1,0,'anna',NULL,NULL,0,1.79520427653300762181e+09,1.79520427654700875279e+09,1.79520427655598068233e+09,'kl','standard','diagonal','{"sum":1.5,"latent_mean":6.0}','5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e',0,6.5,4.0,1.5,2.5,299,-68.25,0.5,64,NULL,11.0,'partial',NULL,10.75,3.0,57.5,NULL,NULL,NULL,NULL,NULL,NULL,'["I(x; z) is within 1 nat of ln 299, where its estimate saturates."]');
INSERT INTO "rdsweep_trials" VALUES(3,1,2,'008267cf-edf6-4b8e-b42b-e5bd0057bdba','diverged','{"beta":2.5,"latent_dim":4}','{"model":{"latent_dim":4},"objective":{"beta":2.5},"train":{"seed":7}}',2.5,2.5,0.15625,NULL,4,'sum','constant','bernoulli','mlp',NULL,0.001,128,20,7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,2.0,1,1,0,'anna',NULL,'the loss is not finite in epoch 2, step 15',0,1.79520427653300762181e+09,1.79520427655698657032e+09,1.79520427656000399591e+09,'kl','standard','diagonal','{"sum":2.5,"latent_mean":10.0}',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "rdsweep_trials" VALUES(4,1,3,'21c89e2c-2a73-4774-bbcb-b00a14ba32ce','failed','{"beta":3.5,"latent_dim":4}','{"model":{"latent_dim":4},"objective":{"beta":3.5},"train":{"seed":7}}',3.5,3.5,0.21875,NULL,4,'sum','constant','bernoulli','mlp',NULL,0.001,128,20,7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,2.0,1,1,0,'anna',NULL,'Traceback (most recent call last)',0,1.79520427653300762181e+09,1795204276.56101,1.79520427656201577186e+09,'kl','standard','diagonal','{"sum":3.5,"latent_mean":14.0}',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "rdsweep_trials" VALUES(5,1,4,'d2b2e13e-a98a-460d-82e1-7ce50352eef4','running','{"beta":4.5,"latent_dim":4}','{"model":{"latent_dim":4},"objective":{"beta":4.5},"train":{"seed":7}}',4.5,4.5,0.28125,NULL,4,'sum','constant','bernoulli','mlp',NULL,0.001,128,20,7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,2.0,1,1,0,'anna',1.79520433656298136716e+09,NULL,0,1.79520427653300762181e+09,1.79520427656298136708e+09,NULL,'kl','standard','diagonal','{"sum":4.5,"latent_mean":18.0}',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "rdsweep_trials" VALUES(6,1,5,'d4292910-c697-4121-93f0-255bed5c1ab0','queued','{"beta":5.5,"latent_dim":4}','{"model":{"latent_dim":4},"objective":{"beta":5.5},"train":{"seed":7}}',NULL,NULL,NULL,NULL,4,'sum','constant','bernoulli','mlp',NULL,0.001,128,20,7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,0,0,0,NULL,NULL,NULL,0,1.79520427653300762181e+09,NULL,NULL,'wae_mmd','mixture','full',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE rdsweep_workers (
	id VARCHAR(64) NOT NULL, 
	study_id INTEGER NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	pid INTEGER NOT NULL, 
	process_started_at DOUBLE NOT NULL, 
	device VARCHAR(255) NOT NULL, 
	versions JSON NOT NULL, 
	started_at DOUBLE NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	ended_at DOUBLE, launcher_id VARCHAR(64), stop VARCHAR(16), reason TEXT, note TEXT, 
	CONSTRAINT pk_rdsweep_workers PRIMARY KEY (id), 
	CONSTRAINT fk_rdsweep_workers_study_id FOREIGN KEY(study_id) REFERENCES rdsweep_studies (id) ON DELETE CASCADE
);
INSERT INTO "rdsweep_workers" VALUES('anna',1,'here',1234,1700000000.0,'cpu','{"python":"3.11"}',1.79520427653501939775e+09,1.79520427653501939775e+09,NULL,'launcher-1',NULL,NULL,'the disk is full');
CREATE INDEX ix_rdsweep_workers_study_id ON rdsweep_workers (study_id);
CREATE INDEX ix_rdsweep_trials_study_id_state_number ON rdsweep_trials (study_id, state, number);
CREATE INDEX ix_rdsweep_trials_study_id_told_number ON rdsweep_trials (study_id, told, number);
CREATE INDEX ix_rdsweep_trials_worker ON rdsweep_trials (worker);
CREATE INDEX ix_rdsweep_trials_study_id_equivalence_number ON rdsweep_trials (study_id, equivalence, number);
CREATE INDEX ix_rdsweep_launchers_study_id ON rdsweep_launchers (study_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('rdsweep_studies',1);
INSERT INTO "sqlite_sequence" VALUES('rdsweep_trials',6);
COMMIT;
